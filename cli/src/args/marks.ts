/** Name and labels on the command line: `--name NAME`, and `--label NAME=VALUE` any number of times. */

import type { CreateOptions } from '@portico/sdk'
import { type Command, InvalidArgumentError } from 'commander'

export type Labels = Readonly<Record<string, string>>

export interface Marks {
  readonly name?: string
  readonly label?: Labels
}

export function addMarks(command: Command): Command {
  return command
    .option('--name <name>', 'what people call it')
    .option('--label <name=value>', 'a label, by which `list` finds it; repeatable', label)
}

/** The options as the SDK takes them. */
export function marks({ name, label: labels }: Marks): Pick<CreateOptions, 'name' | 'labels'> {
  return { name, labels }
}

/** The labels so far and one more. */
export function label(text: string, before: Labels = {}): Labels {
  const [, name = '', value = ''] = /^([^=]+)=(.*)$/s.exec(text) ?? []
  if (name === '') throw new InvalidArgumentError('A label looks like NAME=VALUE.')
  return { ...before, [name]: value }
}
