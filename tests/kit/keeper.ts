/**
 * A process in a guest whose state is in its memory alone: a secret that it made up when it started, and how often it was asked. What it answers tells
 * whether this very process goes on, and from which moment.
 */

/** What to ask is done through `execute`, which runs a shell line in the guest and answers with what it printed. */
export type Execute = (line: string) => Promise<string>

const asks = '/root/keeper.ask'
const tells = '/root/keeper.tell'

const program = [
  'secret=$(od -An -N16 -tx1 /dev/urandom | tr -d " \\n")',
  'turns=0',
  `while read -r line <${asks}; do turns=$((turns + 1)); echo "$secret $turns" >${tells}; done`,
].join('; ')

/** Starts it, and asks it once. */
export async function startKeeper(execute: Execute): Promise<string> {
  await execute(`mkfifo ${asks} ${tells}; setsid bash -c '${program}' </dev/null >/dev/null 2>&1 &`)
  const { secret, turns } = await askKeeper(execute)
  if (turns !== 1) throw new Error(`a keeper that was just started has been asked ${turns} times`)
  return secret
}

/** Its secret, and how often it has been asked, this time included. */
export async function askKeeper(execute: Execute): Promise<{ secret: string; turns: number }> {
  const told = await execute(`echo >${asks}; cat ${tells}`)
  const [, secret, turns] = /^([0-9a-f]{32}) (\d+)\n$/.exec(told) ?? []
  if (secret === undefined) throw new Error(`the keeper told ${JSON.stringify(told)}`)
  return { secret, turns: Number(turns) }
}
