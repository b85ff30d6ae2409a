#!/usr/bin/env -S node --conditions=portico-source

/** `portico-iii`, the program that `alias iii=portico-iii` is for, on a Node that runs it. */

import { fileURLToPath } from 'node:url'
import { start } from './start.js'

await start(fileURLToPath(import.meta.url), () => import('../src/iii/main.ts'))
