/** Who a guest is told that it is: its sandbox, and the defaults that its image has for programs. */

import type { Identity } from '../guest/agent.ts'
import type { VmImages } from '../vm/images.ts'

/** The image's variables lie under the sandbox's own. */
export function identityOf(
  images: Pick<VmImages, 'get'>,
  name: string,
  { sandbox, env }: { readonly sandbox: string; readonly env: Readonly<Record<string, string>> },
): Identity {
  const image = images.get(name)
  if (!image) return { sandbox, env }
  const { workdir, user, entrypoint, cmd } = image
  return {
    sandbox,
    env: { ...image.env, ...env },
    program: {
      ...(workdir === '' ? {} : { workdir }),
      ...(user === undefined || user === '' ? {} : { user }),
      ...(entrypoint === undefined ? {} : { entrypoint }),
      ...(cmd === undefined ? {} : { cmd }),
    },
  }
}
