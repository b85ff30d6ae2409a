/** What the platform says: JSON, or the bytes of a file. */

export interface Answer {
  readonly status: number
  readonly type: string
  readonly body: string | Buffer
  readonly headers?: Readonly<Record<string, string>>
}

export function json(status: number, value: unknown): Answer {
  return { status, type: 'application/json', body: JSON.stringify(value) }
}

export function bytes(status: number, body: Buffer, headers: Readonly<Record<string, string>> = {}): Answer {
  return { status, type: 'application/octet-stream', body, headers }
}
