/** A sandbox with the server of `guest/app.py` in it, bound to the guest's loopback. */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Sandbox } from '@portico/sdk'
import { PortClient } from '../kit/port-client.ts'

export const appPort = 8000
const program = join(import.meta.dirname, 'guest/app.py')

/** Starts the server in a sandbox of the image `python`; resolves once it answers. */
export async function startApp(
  platform: ConstructorParameters<typeof PortClient>[0],
  sandbox: Sandbox,
): Promise<PortClient> {
  await sandbox.files.write('/root/app.py', await readFile(program))
  await sandbox.exec(`setsid python3 /root/app.py ${appPort} </dev/null >/root/app.log 2>&1 &`)
  const client = new PortClient(platform, sandbox.id, appPort)
  await client.listening()
  return client
}
