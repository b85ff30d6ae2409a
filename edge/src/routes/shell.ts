/** `GET /v1/runs/{id}/shell`: a shell that lives on, with its folder, variables and jobs, on a WebSocket. `…/sessions/{session}` attaches to one again. */

import type { KeyCall } from '../call.ts'
import { attach } from './terminal.ts'

/** What is printed while nobody reads. */
const bufferBytes = 4_194_304

export async function shell(call: KeyCall): Promise<Response> {
  return attach(call, 'shell', (text) => {
    const [cwd, user] = [text('cwd'), text('user')]
    const start = {
      ...(cwd === undefined ? {} : { cwd }),
      ...(user === undefined ? {} : { user }),
      stdin_open: true,
      buffer_bytes: bufferBytes,
    }
    return { cols: 80, rows: 24, start, noted: {} }
  })
}
