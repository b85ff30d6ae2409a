import { randomBytes } from 'node:crypto'
import { base32 } from '@portico/shared/ids'

/** A name for a machine that no other ever had. */
export function newMachineId(): string {
  return `vm${base32(randomBytes(10))}`
}
