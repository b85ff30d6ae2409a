/** A sandbox's ports: where they are, for whoever knows its id, and who may reach them. */

import type { PortRequest } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import type { Caller, PortRoute, PortSetting } from '../ports.ts'
import type { PortSettings } from '../store/ports.ts'
import { type Life, notFound } from './life.ts'
import { routeTo } from './route.ts'

/** So many ports of one sandbox may be set. */
const mostSet = 1000

/** The way to its ports, once there is room for one that its use wakes. One that is over is answered as one that never was. */
export async function portRouteTo(life: Life, settings: () => PortSettings): Promise<PortRoute> {
  const { record } = life
  if (record === undefined || record.state === 'lost') throw notFound()
  const route = await routeTo(life, record)
  return { ...route, settings: settings().all() }
}

/** What was set. */
export function portSettings(life: Life, caller: Caller, settings: () => PortSettings): Record<number, PortSetting> {
  life.usable(caller)
  return settings().all()
}

/** Sets what the change names, and ends all links that were made before. */
export function setPort(
  life: Life,
  caller: Caller,
  settings: () => PortSettings,
  port: number,
  { access, host }: PortRequest,
): PortSetting {
  life.usable(caller)
  const kept = settings()
  const before = kept.get(port)
  if (before === undefined && kept.count >= mostSet) {
    throw new AppError('conflict', `cannot set the port: ${mostSet} ports of this sandbox are set already`)
  }
  const setting: PortSetting = {
    access: access ?? before?.access ?? 'url',
    host: host ?? before?.host ?? 'public',
    version: (before?.version ?? 0) + 1,
  }
  kept.set(port, setting)
  life.note('port.changed', { port, access: setting.access, host: setting.host })
  return setting
}
