/**
 * Lets xterm style itself under a policy without inline styles. It writes `<style>` elements and `style` attributes, which the policy refuses; the
 * same rules by way of the CSS object model are allowed. So `<style>` becomes a style sheet that the document adopts, and a `style` attribute set on
 * a `<span>` becomes its `style.cssText`.
 *
 * xterm takes its document from more than one place, so the document's own `createElement` is replaced, once.
 */

let installed = false

export function installStrictStyles(): void {
  if (installed) return
  installed = true
  const create = document.createElement.bind(document)
  const strict = (name: string, options?: ElementCreationOptions): HTMLElement => {
    if (name === 'style') return adoptedStyle(create('template'))
    const element = create(name, options)
    return name === 'span' ? styledByModel(element) : element
  }
  Object.defineProperty(document, 'createElement', { value: strict, configurable: true, writable: true })
}

/** An element that stands for a style sheet: its text is the sheet's, and it takes the sheet with it. */
function adoptedStyle(element: HTMLElement): HTMLElement {
  const sheet = new CSSStyleSheet()
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet]
  Object.defineProperty(element, 'textContent', { set: (text: string) => sheet.replaceSync(text) })
  element.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((one) => one !== sheet)
    Element.prototype.remove.call(element)
  }
  return element
}

function styledByModel(element: HTMLElement): HTMLElement {
  element.setAttribute = (name, value) => {
    if (name === 'style') element.style.cssText = value
    else Element.prototype.setAttribute.call(element, name, value)
  }
  return element
}
