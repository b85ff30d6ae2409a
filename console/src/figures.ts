/** Figures as people read them. */

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const

/** `1536` is `1.5 KiB`. */
export function bytes(count: number): string {
  let size = count
  let unit = 0
  while (size >= 1023.95 && unit < units.length - 1) {
    size /= 1024
    unit++
  }
  return `${unit === 0 || size >= 100 ? Math.round(size) : size.toFixed(1)} ${units[unit]}`
}

/** Cents, with as many digits as say something: most sandboxes cost a fraction of one. */
export function cents(amount: number): string {
  if (amount === 0) return '0 ¢'
  if (amount >= 100) return `$${(amount / 100).toFixed(2)}`
  return `${amount.toFixed(amount >= 1 ? 2 : 4)} ¢`
}

/** How long, in its two largest units: `2 h 5 min`. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  const [days, hours, minutes] = [
    Math.floor(seconds / 86_400),
    Math.floor(seconds / 3600) % 24,
    Math.floor(seconds / 60) % 60,
  ]
  if (days > 0) return `${days} d ${hours} h`
  if (hours > 0) return `${hours} h ${minutes} min`
  if (minutes > 0) return `${minutes} min ${seconds % 60} s`
  return `${seconds} s`
}

/** A share of one as per cent. */
export function percent(share: number): string {
  return `${share > 0 && share < 0.095 ? (share * 100).toFixed(1) : Math.round(share * 100)} %`
}
