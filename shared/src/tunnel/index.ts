/** The stream protocol between edge, runner and guest agent: `docs/protocol.md`. */

export * from './call.ts'
export * from './close.ts'
export * from './decode.ts'
export { encode } from './encode.ts'
export * from './frame.ts'
export * from './hello.ts'
export * from './limits.ts'
export * from './muxer.ts'
export * from './preamble.ts'
export * from './splice.ts'
export * from './types.ts'
export * from './web.ts'
