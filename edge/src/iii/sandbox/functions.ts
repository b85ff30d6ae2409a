/** The functions about sandboxes as a whole; those about their files are in `files/`. */

import type { IiiFunction } from '../functions.ts'
import { catalog } from './catalog.ts'
import { create } from './create.ts'
import { exec } from './exec.ts'
import { list } from './list.ts'
import { run } from './run.ts'
import { stop } from './stop.ts'

export const sandboxFunctions: readonly IiiFunction[] = [create, exec, stop, list, run, catalog]
