/** Where things stand in the checkout and in its state folder. Nothing else spells these names. */

import { join, resolve } from 'node:path'

/** The checkout's root. */
export const root = resolve(import.meta.dirname, '..')

/** Everything that set-up builds and the local platform keeps: `.portico/`, or what PORTICO_HOME says. */
export const home = resolve(process.env.PORTICO_HOME ?? join(root, '.portico'))

export const paths = {
  assets: join(home, 'cache', 'assets.json'),
  /** The state of `npm run up` unless told otherwise. */
  local: join(home, 'local'),
  /** Where short-lived platforms (the demo, tests, benchmarks) put their state. */
  temporary: join(home, 'tmp'),
  wranglerToml: join(root, 'wrangler.toml'),
  worker: join(root, 'edge', 'src', 'worker.ts'),
  /** The web page, bundled. */
  page: join(root, 'console', 'dist'),
  runner: join(root, 'runner', 'src', 'main.ts'),
  /** The policy of `npm run up` unless told otherwise. */
  localPolicy: join(root, 'deploy', 'local', 'portico.yaml'),
  localConfig: join(root, 'deploy', 'local', 'platform.json'),
} as const
