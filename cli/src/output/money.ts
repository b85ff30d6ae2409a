/** A cost in cents, as people read it: `$0.0042`, `$1.20`. */
export function money(cents: number): string {
  const dollars = cents / 100
  if (dollars === 0 || dollars >= 1) return `$${dollars.toFixed(2)}`
  // Small amounts keep two digits that say something.
  return `$${dollars.toFixed(Math.min(8, 1 - Math.floor(Math.log10(dollars))))}`
}
