/** The CLI: reads the command line, runs the command, ends with its exit code. */

import { failureOf } from './output/failure.ts'
import { makeProgram } from './program.ts'

const words = process.argv.slice(2)
const { program, session } = await makeProgram(words)
try {
  await program.parseAsync(words, { from: 'user' })
} catch (error) {
  await session.progress.clear()
  const { text, exitCode } = failureOf(error, session.local)
  await session.terminal.complain(text)
  session.exitCode = exitCode
}
await session.progress.clear()
await session.terminal.flush()
// All has been said and done; a socket that its other side has yet to hang up is nothing to wait for.
process.exit(session.exitCode)
