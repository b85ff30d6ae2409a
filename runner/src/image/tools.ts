/** The programs of the host that pull and unpack images. */

export interface ImageTools {
  readonly skopeo: string
  readonly umoci: string
  readonly mkfs: string
  readonly bwrap: string
}

/** By name, as Debian's packages skopeo, umoci, erofs-utils and bubblewrap install them; a test names others. */
export const imageTools: ImageTools = { skopeo: 'skopeo', umoci: 'umoci', mkfs: 'mkfs.erofs', bwrap: 'bwrap' }
