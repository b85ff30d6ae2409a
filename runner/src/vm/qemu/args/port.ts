import { type Argument, properties } from './argument.ts'

/** The bus of virtio serial ports. Port 0 is reserved for a console, so two ports make room for one. */
export function serialBus(id: string): Argument {
  return ['-device', properties('virtio-serial-device', { id, max_ports: 2 })]
}

/** A byte stream between the guest and a character device; the guest finds it by name. */
export function serialPort(bus: string, character: string, name: string): Argument {
  return ['-device', properties('virtserialport', { bus: `${bus}.0`, nr: 1, chardev: character, name })]
}
