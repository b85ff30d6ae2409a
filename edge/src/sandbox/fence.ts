/**
 * Identity of the work under way. A call to a runner captures which generation on which runner it is about; whatever comes back asks
 * again before it writes, so an answer from before a destroy or a second placement touches nothing.
 */

export interface Fence {
  readonly runner: string
  readonly generation: number
}

interface Fenced {
  readonly runner: string | null
  readonly generation: number
}

/** The identity in force, or undefined before the first placement. */
export function captureFence(record: Fenced): Fence | undefined {
  return record.runner === null ? undefined : { runner: record.runner, generation: record.generation }
}

/** Whether that identity is still in force. */
export function isCurrent(record: Fenced | undefined, fence: Fence): boolean {
  return record !== undefined && record.runner === fence.runner && record.generation === fence.generation
}
