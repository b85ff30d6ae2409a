/** `config check`: the policy, and whatever of the runner's configuration it depends on, looked at without starting anything. Exit code 1 if it is wrong. */

import { resolve } from 'node:path'
import { loadAssets } from '../assets.ts'
import { engineConfig, loadConfig } from '../config.ts'
import { inspectPolicy } from './load.ts'
import { catalogOf } from './names.ts'
import { type Policy, shippedPresets } from './policy.ts'

export interface CheckOptions {
  /** The policy; unless given, the one that the configuration names. */
  readonly file: string | undefined
  /** The runner's own configuration. */
  readonly config: string | undefined
  readonly json: boolean
}

export async function checkConfig({ file, config: configFile, json }: CheckOptions): Promise<number> {
  const config = await loadConfig(engineConfig, configFile, process.env)
  const policyFile = file === undefined ? config.policy : resolve(file)
  if (policyFile === undefined) {
    const none = 'no policy: presets and their aliases may be booted, nothing is pulled'
    process.stdout.write(json ? `${JSON.stringify({ ok: true, file: null, complaints: [] })}\n` : `${none}\n`)
    return 0
  }
  const presets = await presetsOf(config.assets)
  const loaded = await inspectPolicy(policyFile, { presets, aliases: config.imageAliases })
  const { complaints } = loaded
  const ok = complaints.length === 0
  if (json) process.stdout.write(`${JSON.stringify({ ok, file: policyFile, complaints })}\n`)
  else if ('policy' in loaded) process.stdout.write(`${policyFile} is good: ${summary(loaded.policy, presets)}\n`)
  else process.stderr.write(complaints.map((complaint) => `${complaint}\n`).join(''))
  return ok ? 0 : 1
}

/** What set-up has built, and what Portico ships, as a host without a set-up can still check. */
async function presetsOf(assets: string): Promise<string[]> {
  const built = await loadAssets(assets).catch(() => undefined)
  return [...new Set([...shippedPresets, ...Object.keys(built?.images ?? {})])]
}

function summary(policy: Policy, presets: readonly string[]): string {
  const names = catalogOf({ presets, aliases: {} }, policy).map(({ name }) => name)
  const patterns = policy.image_allowlist.filter((entry) => !names.includes(entry))
  const allowed = [...names, ...patterns]
  const images = allowed.length === 0 ? 'allows no image' : `allows ${allowed.join(', ')}`
  const pulls = policy.auto_install ? 'pulls on first use' : 'pulls nothing by itself'
  return `${images}; ${pulls}; ${policy.max_concurrent_sandboxes} sandboxes at most`
}
