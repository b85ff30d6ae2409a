/** Standard input as text for a guest command. The API takes it in one piece with the command, so it has a limit. */

import { addAbortSignal, type Readable } from 'node:stream'
import { CommandError } from '../command-error.ts'

/** The API takes 1 MiB of JSON; this leaves room for what surrounds the text. */
const maxBytes = 1_000_000

export async function readInput(source: Readable, signal: AbortSignal): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  try {
    for await (const chunk of addAbortSignal(signal, source)) {
      chunks.push(chunk as Buffer)
      size += (chunk as Buffer).length
      if (size > maxBytes) throw tooLong()
    }
  } catch (error) {
    throw signal.aborted ? signal.reason : error
  }
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.concat(chunks))
  } catch {
    throw new CommandError(
      'cannot pass standard input: it is not UTF-8 text',
      'Pass bytes as base64, or write a file with the SDK.',
    )
  }
}

function tooLong(): CommandError {
  return new CommandError(
    'cannot pass standard input: it is longer than 1 MB',
    'Write it to a file in the sandbox with the SDK.',
  )
}
