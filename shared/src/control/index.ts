/** Heads of the streams between edge and runner: `docs/protocol.md`, "Heads between edge and runner". Unknown fields are ignored on both sides. */

export * from './answers.ts'
export * from './from-edge.ts'
export * from './from-runner.ts'
export * from './images.ts'
export * from './port-messages.ts'
export * from './status-list.ts'
