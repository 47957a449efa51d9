// Hypercalls as a kernel that is broken might make them: any number, any arguments, pointers to anywhere in its memory.
// The layer never writes outside guest memory, and comes back.
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "tests/unit/guest/pv/host_layer.hpp"

namespace {

using namespace understudy::pv;

// The input, byte by byte; zeros behind it.
class Source {
  public:
    Source(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}

    template <typename T>
    T take() {
        T value{};
        const std::size_t bytes = std::min(sizeof value, size_);
        std::memcpy(&value, data_, bytes);
        data_ += bytes;
        size_ -= bytes;
        return value;
    }
    [[nodiscard]] bool empty() const { return size_ == 0; }

  private:
    const std::uint8_t* data_;
    std::size_t size_;
};

// A structure's worth of the input in guest memory, and its address: a bad pointer faults in the guest, which the layer
// reports and the guest does not survive.
constexpr std::size_t kStructure = 128;
u64 structure(Source& source, std::size_t slot) {
    u8* const place = physical(HostLayer::kFirstFree + slot * kStructure);
    for (std::size_t i = 0; i < kStructure; ++i) {
        place[i] = source.take<u8>();
    }
    return reinterpret_cast<u64>(place);
}

void call(HostLayer& guest, Source& source) {
    const u64 number = source.take<u8>() % 64;
    const u64 command = source.take<u8>();
    const u64 count = source.take<u8>() % 4;
    switch (number) {
        case __HYPERVISOR_set_trap_table: {
            const u64 table = structure(source, 0);
            std::memset(reinterpret_cast<u8*>(table) + kStructure - sizeof(trap_info_t), 0, sizeof(trap_info_t));
            static_cast<void>(guest.hypercall(number, table));
            break;
        }
        case __HYPERVISOR_mmu_update:
        case __HYPERVISOR_mmuext_op:
            static_cast<void>(guest.hypercall(number, structure(source, 0), count, structure(source, 1)));
            break;
        case __HYPERVISOR_multicall: {
            const u64 calls = structure(source, 0);
            reinterpret_cast<multicall_entry_t*>(calls)->op = __HYPERVISOR_xen_version;
            reinterpret_cast<multicall_entry_t*>(calls)->args[0] = source.take<u8>() % 2 == 0 ? 0 : 7;
            static_cast<void>(guest.hypercall(number, calls, 1));
            break;
        }
        case __HYPERVISOR_update_va_mapping:
            static_cast<void>(guest.hypercall(number, source.take<u64>(), source.take<u64>(), source.take<u64>()));
            break;
        case __HYPERVISOR_console_io:
            static_cast<void>(guest.hypercall(number, command, count * 40, structure(source, 0)));
            break;
        case __HYPERVISOR_vcpu_op:
            if (command != VCPUOP_register_vcpu_time_memory_area) {  // whose pointer is the kernel's own again
                static_cast<void>(guest.hypercall(number, command, 0, structure(source, 0)));
            }
            break;
        case __HYPERVISOR_set_segment_base:  // the host's own FS is at stake
        case __HYPERVISOR_sched_op:          // waits, or ends
            break;
        default:
            static_cast<void>(guest.hypercall(number, command, structure(source, 0), structure(source, 1)));
            break;
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    HostLayer guest;
    guest.map(0x7f0000000000, kWritable);
    Source source(data, size);
    constexpr int kMost = 32;
    for (int i = 0; i < kMost && !source.empty(); ++i) {
        call(guest, source);
    }
    return 0;
}
