// SPDX-License-Identifier: Apache-2.0
// Drives the example device from user space, as root: has it copy memory, waits for its interrupts and checks every byte.
// Needs nothing but Linux with uio_pci_generic. The last line says "example driver ok: ..." or "example driver failed: ...".
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define VENDOR 0x0c05
#define DEVICE 0xe7a0
#define PCI_DEVICES "/sys/bus/pci/devices"

enum { PAGE = 4096, INTERRUPT_TIMEOUT_MS = 60000 };

// Registers in BAR0.
enum {
    ID = 0x00, SCRATCH = 0x04, SOURCE = 0x08, DESTINATION = 0x10, LENGTH = 0x18, CONTROL = 0x1c, STATUS = 0x20, COPIES = 0x24,
    ID_VALUE = 0x4558414d, CONTROL_START = 1, STATUS_DONE = 1, STATUS_FAILED = 2,
};

// Command register of the configuration space.
enum { PCI_COMMAND = 0x04, COMMAND_MEMORY = 0x2, COMMAND_BUS_MASTER = 0x4, COMMAND_INTX_DISABLE = 0x400 };

static void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    printf("example driver failed: ");
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
    exit(1);
}

static int open_or_fail(const char *path, int flags)
{
    int file = open(path, flags);
    if (file < 0)
        fail("%s: %s", path, strerror(errno));
    return file;
}

static void write_text(const char *path, const char *text)
{
    int file = open_or_fail(path, O_WRONLY);
    if (write(file, text, strlen(text)) != (ssize_t)strlen(text))
        fail("%s does not take %s: %s", path, text, strerror(errno));
    close(file);
}

static unsigned read_number(const char *device, const char *attribute)
{
    char path[512];
    unsigned value;
    snprintf(path, sizeof path, PCI_DEVICES "/%s/%s", device, attribute);
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%x", &value) != 1)
        fail("%s cannot be read", path);
    fclose(file);
    return value;
}

// Address of the first function with our vendor and device.
static void find_device(char address[64])
{
    DIR *devices = opendir(PCI_DEVICES);
    if (!devices)
        fail(PCI_DEVICES ": %s", strerror(errno));
    for (struct dirent *entry; (entry = readdir(devices));) {
        if (entry->d_name[0] != '.' && read_number(entry->d_name, "vendor") == VENDOR && read_number(entry->d_name, "device") == DEVICE) {
            snprintf(address, 64, "%.63s", entry->d_name);
            closedir(devices);
            return;
        }
    }
    fail("there is no PCI function %04x:%04x", VENDOR, DEVICE);
}

// Gives the function to uio_pci_generic, which enables it, and opens the descriptor that tells of its interrupts.
static int open_uio(const char *address)
{
    char path[512];
    snprintf(path, sizeof path, PCI_DEVICES "/%s/uio", address);
    DIR *folder = opendir(path);
    if (!folder) {
        char override[512];
        snprintf(override, sizeof override, PCI_DEVICES "/%s/driver_override", address);
        write_text(override, "uio_pci_generic");
        write_text("/sys/bus/pci/drivers_probe", address);
        folder = opendir(path);
    }
    if (!folder)
        fail("uio_pci_generic does not take %s", address);
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (strncmp(entry->d_name, "uio", 3) == 0) {
            snprintf(path, sizeof path, "/dev/%.32s", entry->d_name);
            closedir(folder);
            return open_or_fail(path, O_RDONLY);
        }
    }
    fail("%s has no entry", path);
    return -1;
}

// What the device has to put on the bus to reach a page of ours; the page is locked.
static uint64_t physical_address(const void *page)
{
    uint64_t entry;
    int pagemap = open_or_fail("/proc/self/pagemap", O_RDONLY);
    if (pread(pagemap, &entry, sizeof entry, (off_t)((uintptr_t)page / PAGE * sizeof entry)) != sizeof entry)
        fail("/proc/self/pagemap: %s", strerror(errno));
    close(pagemap);
    // Bit 63: present; bits 54 to 0: page frame number, 0 for those who may not see it.
    uint64_t frame = entry & ((1ull << 55) - 1);
    if (!(entry >> 63) || frame == 0)
        fail("the physical address of a page is not to be had: run as root");
    return frame * PAGE;
}

static uint8_t *locked_page(void)
{
    void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (page == MAP_FAILED || mlock(page, PAGE) != 0)
        fail("a page cannot be locked: %s", strerror(errno));
    return page;
}

static void set_command(int config)
{
    uint16_t command;
    if (pread(config, &command, sizeof command, PCI_COMMAND) != sizeof command)
        fail("the command register cannot be read: %s", strerror(errno));
    // uio_pci_generic sets Interrupt Disable at each interrupt; to clear it is up to us.
    command = (uint16_t)((command | COMMAND_MEMORY | COMMAND_BUS_MASTER) & ~COMMAND_INTX_DISABLE);
    if (pwrite(config, &command, sizeof command, PCI_COMMAND) != sizeof command)
        fail("the command register cannot be written: %s", strerror(errno));
}

static uint32_t get(const volatile uint8_t *bar, unsigned offset)
{
    return *(const volatile uint32_t *)(bar + offset);
}

static void set(volatile uint8_t *bar, unsigned offset, uint32_t value)
{
    *(volatile uint32_t *)(bar + offset) = value;
}

static void set_address(volatile uint8_t *bar, unsigned offset, uint64_t value)
{
    set(bar, offset, (uint32_t)value);
    set(bar, offset + 4, (uint32_t)(value >> 32));
}

int main(void)
{
    static const struct { unsigned from, to, bytes; } copies[] = { { 0, 0, 4 }, { 60, 1028, 132 }, { 4, 8, 4000 }, { 0, 0, PAGE } };
    char address[64], path[512];
    setvbuf(stdout, NULL, _IOLBF, 0);

    find_device(address);
    int uio = open_uio(address);
    snprintf(path, sizeof path, PCI_DEVICES "/%s/config", address);
    int config = open_or_fail(path, O_RDWR);
    snprintf(path, sizeof path, PCI_DEVICES "/%s/resource0", address);
    int resource = open_or_fail(path, O_RDWR | O_SYNC);
    volatile uint8_t *bar = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, resource, 0);
    if (bar == MAP_FAILED)
        fail("%s: %s", path, strerror(errno));

    set_command(config);
    if (get(bar, ID) != ID_VALUE)
        fail("%s: ID is 0x%08x, not 0x%08x", address, get(bar, ID), ID_VALUE);
    set(bar, SCRATCH, 0xa5c35a3c);
    if (get(bar, SCRATCH) != 0xa5c35a3c)
        fail("%s: SCRATCH does not keep what is written", address);

    uint8_t *source = locked_page(), *destination = locked_page();
    uint64_t source_address = physical_address(source), destination_address = physical_address(destination);
    printf("%s is the example device; source page at 0x%llx, destination page at 0x%llx\n", address,
           (unsigned long long)source_address, (unsigned long long)destination_address);

    uint32_t first = get(bar, COPIES), interrupts = 0;
    unsigned bytes = 0, count = sizeof copies / sizeof copies[0];
    for (unsigned i = 0; i < count; i++) {
        unsigned from = copies[i].from, to = copies[i].to, length = copies[i].bytes;
        for (unsigned k = 0; k < PAGE; k++)
            source[k] = (uint8_t)(k * 7 + k / 256 + i * 31);
        memset(destination, 0xee, PAGE);

        set_address(bar, SOURCE, source_address + from);
        set_address(bar, DESTINATION, destination_address + to);
        set(bar, LENGTH, length);
        __sync_synchronize();
        set(bar, CONTROL, CONTROL_START);

        uint32_t total;
        struct pollfd wait = { .fd = uio, .events = POLLIN };
        if (poll(&wait, 1, INTERRUPT_TIMEOUT_MS) != 1)
            fail("no interrupt in %d s; STATUS is 0x%x", INTERRUPT_TIMEOUT_MS / 1000, get(bar, STATUS));
        if (read(uio, &total, sizeof total) != sizeof total)
            fail("the interrupt cannot be read: %s", strerror(errno));
        interrupts++;
        uint32_t status = get(bar, STATUS);
        set(bar, STATUS, STATUS_DONE | STATUS_FAILED);
        // The device's level has to be low again before it may interrupt: a read cannot pass the write.
        if (status != STATUS_DONE || get(bar, STATUS) != 0)
            fail("copy %u: STATUS is 0x%x, then 0x%x", i, status, get(bar, STATUS));
        set_command(config);
        __sync_synchronize();

        for (unsigned k = 0; k < PAGE; k++) {
            uint8_t expected = k >= to && k < to + length ? source[k - to + from] : 0xee;
            if (destination[k] != expected)
                fail("copy %u: byte %u of the destination page is 0x%02x, not 0x%02x", i, k, destination[k], expected);
        }
        printf("copied %u bytes from offset %u to offset %u, interrupt %u\n", length, from, to, total);
        bytes += length;
    }

    if (get(bar, COPIES) - first != count)
        fail("the device counted %u copies, not %u", get(bar, COPIES) - first, count);
    printf("example driver ok: %u copies, %u bytes, %u interrupts\n", count, bytes, interrupts);
    return 0;
}
