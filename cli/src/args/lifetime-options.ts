/** Options that say how long a sandbox stays, and what wakes it. */

import type { CreateOptions } from '@portico/sdk'
import { type Command, Option } from 'commander'

export interface LifetimeOptions {
  readonly autoResume?: boolean
  readonly onIdle?: 'destroy' | 'hibernate'
}

export function addLifetimeOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--on-idle <what>', 'what happens to it once it has been idle so long').choices([
        'destroy',
        'hibernate',
      ]),
    )
    .option('--auto-resume', 'when it is hibernated, any use wakes it')
}

/** The options as the SDK takes them. */
export function lifetime({ autoResume, onIdle }: LifetimeOptions): Pick<CreateOptions, 'autoResume' | 'onIdle'> {
  return { autoResume, onIdle }
}
