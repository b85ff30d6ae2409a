/** The CLI: reads the command line, runs the command, ends with its exit code. */

import { makeProgram } from './program.ts'
import { runProgram } from './program-run.ts'

await runProgram(await makeProgram(process.argv.slice(2)))
