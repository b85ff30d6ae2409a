/** `sandbox::fs::…`: a sandbox's files. */

import type { IiiFunction } from '../functions.ts'
import { chmod, mkdir, mv, rm } from './change.ts'
import { read, write } from './content.ts'
import { grep } from './grep.ts'
import { ls, stat } from './look.ts'
import { sed } from './sed.ts'

export const fileFunctions: readonly IiiFunction[] = [ls, stat, mkdir, write, read, rm, chmod, mv, grep, sed]
