import { type Argument, properties } from './argument.ts'

const deny = 'deny'

/** System calls that a virtual machine never needs are refused by the kernel; starting programs is one of them. */
export function seccomp(): Argument {
  return ['-sandbox', properties('on', { obsolete: deny, elevateprivileges: deny, spawn: deny, resourcecontrol: deny })]
}
