/** An amount of bytes as people read it: `0.4 MiB`, `38 MiB`, `1.5 GiB`. */
export function size(bytes: number): string {
  const mib = bytes / 2 ** 20
  if (mib >= 1024) return `${rounded(mib / 1024)} GiB`
  return `${rounded(mib)} MiB`
}

function rounded(amount: number): string {
  return amount < 10 ? amount.toFixed(1).replace('.0', '') : amount.toFixed(0)
}
