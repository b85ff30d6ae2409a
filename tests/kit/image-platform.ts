/** A platform whose runners may pull from a registry of the test's own. */

import type { PlatformOptions } from '@portico/deploy/local'
import { type TestPlatform, testPlatform } from './platform.ts'
import { Registry, type RegistryOptions } from './registry.ts'

export interface ImagePlatform extends AsyncDisposable {
  readonly test: TestPlatform
  readonly registry: Registry
}

export interface ImagePlatformOptions {
  readonly registry?: RegistryOptions
  readonly platform?: Partial<PlatformOptions>
}

/** Opens both. Any image may be booted; the runners have the registry's login, if there is one. */
export async function imagePlatform({ registry: of, platform }: ImagePlatformOptions = {}): Promise<ImagePlatform> {
  await using owned = new AsyncDisposableStack()
  const registry = owned.use(await Registry.start(of))
  const policy = {
    image_allowlist: ['python', 'node', '*'],
    insecure_registries: [registry.host],
    ...(of?.login === undefined ? {} : { registry_auth: await registry.authFile() }),
  }
  // JSON is YAML.
  const test = owned.use(await testPlatform({ poolSize: 0, policy: { text: JSON.stringify(policy) }, ...platform }))
  const all = owned.move()
  return { test, registry, [Symbol.asyncDispose]: () => all.disposeAsync() }
}
