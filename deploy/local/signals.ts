/** Resolves with its name on the first SIGINT or SIGTERM. A second one ends the process at once; its children end with it. */
export function stopAsked(): Promise<NodeJS.Signals> {
  return new Promise((done) => {
    let seen = false
    for (const name of ['SIGINT', 'SIGTERM'] as const) {
      process.on(name, () => {
        if (seen) process.exit(130)
        seen = true
        done(name)
      })
    }
  })
}
