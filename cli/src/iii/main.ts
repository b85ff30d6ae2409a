/** `portico-iii`: the sandbox commands that `iii` has, against Portico. */

import { runProgram } from '../program-run.ts'
import { makeIii } from './program.ts'

await runProgram(makeIii())
