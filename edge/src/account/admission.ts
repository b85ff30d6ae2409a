/** Room in an account's limits around what needs it. */

import { type Outcome, unwrap } from '../outcome.ts'
import { reach } from '../platform-errors.ts'
import type { AccountPort, AdmitInput, OwnImage } from '../ports.ts'

/** Makes something once the account has room for it; what was refused gives its room back. Of what nobody knows the room goes with its time. */
export async function admitted<Value>(
  account: AccountPort,
  input: AdmitInput,
  make: (own: OwnImage | undefined) => Promise<Outcome<Value>>,
): Promise<Value> {
  const { action, sandboxes } = input
  const own = unwrap(await reach(action, account.admit(input)))
  const made = await reach(action, make(own))
  if (!made.ok) await account.dismiss(sandboxes).catch(() => undefined)
  return unwrap(made)
}
