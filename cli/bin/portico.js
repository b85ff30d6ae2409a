#!/usr/bin/env -S node --conditions=portico-source

/** `portico`, on a Node that runs it. */

import { fileURLToPath } from 'node:url'
import { start } from './start.js'

await start(fileURLToPath(import.meta.url), () => import('../src/main.ts'))
