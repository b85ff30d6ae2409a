/** Where metrics are served, as the configuration has it. */

/** `ADDRESS:PORT`, or `[ADDRESS]:PORT`. */
export function parseListen(text: string): { host: string; port: number } | undefined {
  const [, six, four, digits] = /^(?:\[([0-9a-f:.]+)\]|([^:[\]]+)):(\d{1,5})$/i.exec(text) ?? []
  const host = six ?? four
  const port = Number(digits)
  return host !== undefined && port <= 65_535 ? { host, port } : undefined
}
