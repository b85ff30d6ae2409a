/** Options of the commands that create a sandbox. */

import type { CreateOptions } from '@portico/sdk'
import type { Command } from 'commander'
import { count } from './count.ts'
import { wholeSeconds } from './duration.ts'
import { size } from './size.ts'

export interface SandboxOptions {
  readonly cpus?: number
  readonly memory?: number
  readonly disk?: number
  readonly idle?: number
}

export function addSandboxOptions(command: Command): Command {
  return command
    .option('--cpus <n>', 'virtual CPUs (default: 1)', count)
    .option('--memory <size>', 'memory, such as 512M or 2G (default: 1G)', size)
    .option('--disk <size>', 'scratch disk (default: 4G)', size)
    .option('--idle <duration>', 'destroy it after so long without activity; 0 is never (default: 5m)', wholeSeconds)
}

/** The options as the SDK takes them. */
export function createOptions(image: string, { cpus, memory, disk, idle }: SandboxOptions): CreateOptions {
  return { image, vcpus: cpus, memMiB: memory, diskMiB: disk, timeoutSec: idle }
}
