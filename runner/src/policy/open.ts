/** Opens the images of a host: its policy, if it has one, and the store of images that were pulled, which is there as long as something may need it. */

import { stat } from 'node:fs/promises'
import { type Clock, systemClock } from '@portico/shared/clock'
import type { EngineConfig } from '../config.ts'
import { ImageStore, type StoredImage } from '../image/store.ts'
import type { Logger } from '../log.ts'
import { statePaths } from '../paths.ts'
import type { ImageFile, VmImages } from '../vm/images.ts'
import { HostImages, type Store } from './host-images.ts'
import { loadPolicy } from './load.ts'
import { type Policy, shippedPresets } from './policy.ts'

export interface OpenImages {
  readonly config: Pick<EngineConfig, 'stateDir' | 'imageAliases' | 'policy'>
  readonly images: VmImages
  /** Instead of the one in the state folder; it is the caller's. */
  readonly store?: Store | undefined
  readonly log: Logger
  readonly clock?: Clock | undefined
  /** Resolved names of images that something on this host is made of. */
  readonly inUse: () => Iterable<string>
}

export interface OpenedImages {
  readonly hostImages: HostImages
  readonly policy: Policy | undefined
}

/** Rejects with `invalid_request` if the policy cannot be used. From then on machines boot images of the store, too. */
export async function openHostImages(options: OpenImages): Promise<OpenedImages> {
  const { config, images } = options
  const presets = [...new Set([...shippedPresets, ...images.keys()])]
  const reserved = { presets, aliases: config.imageAliases }
  const policy = config.policy === undefined ? undefined : await loadPolicy(config.policy, reserved)
  const store = options.store ?? (await openStore(options, policy))
  if (store) images.addSource((name) => fileOf(store.get(name), name))
  return { hostImages: new HostImages({ images, aliases: config.imageAliases, policy, store }), policy }
}

/** Without a policy nothing is pulled, but what sleeps here may be of an image that was. */
async function openStore(
  { config, log, clock, inUse }: OpenImages,
  policy: Policy | undefined,
): Promise<Store | undefined> {
  const folder = statePaths(config.stateDir).images
  const exists = await stat(folder).then(
    () => true,
    () => false,
  )
  if (!policy && !exists) return undefined
  return await ImageStore.open({
    folder,
    cacheLimitBytes: Math.round((policy?.image_cache_gb ?? Number.MAX_SAFE_INTEGER / 1e9) * 1e9),
    ...(policy?.registry_auth === undefined ? {} : { authFile: policy.registry_auth }),
    insecureRegistries: policy?.insecure_registries ?? [],
    log,
    clock: clock ?? systemClock,
    inUse,
  })
}

/** Only by its whole name: a machine is never made of what a tag means at the moment. */
export function fileOf(image: StoredImage | undefined, name: string): ImageFile | undefined {
  if (image?.name !== name) return undefined
  const { env, workdir, user, entrypoint, cmd } = image.config
  return { digest: image.fileDigest, env, workdir, user, entrypoint, cmd, erofs: image.erofs }
}
