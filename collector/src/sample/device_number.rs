//! Block devices as the kernel's tables number them.

use tare_ebpf::Key;
use tare_parsers::io::Device;

/// The number of a device.
pub(super) fn device_number(device: Device) -> u32 {
    Key::device(0, device.major, device.minor).device
}

/// The inverse of [`device_number`].
pub(super) fn device_of(number: u32) -> Device {
    let (major, minor) = Key { device: number, ..Key::default() }.major_minor();
    Device { major, minor }
}
