/** The key of this tab: kept in its session storage, so it goes with the tab and no other tab has it. */

const name = 'portico.key'

export function storedKey(): string | undefined {
  return sessionStorage.getItem(name) ?? undefined
}

export function storeKey(key: string | undefined): void {
  if (key === undefined) sessionStorage.removeItem(name)
  else sessionStorage.setItem(name, key)
}
