// The layer's code on the host: guest memory is a mapping of the test's, an exit is noted instead of taken.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <vector>

#include "guest/pv/layer.hpp"

namespace understudy::pv {

// What the guest stopped itself with.
struct PortExit {
    u8 port = 0;
    u32 value = 0;

    bool operator==(const PortExit&) const = default;
};

// die() of the host.
struct LayerDied : std::runtime_error {
    explicit LayerDied(understudy_fault why) : std::runtime_error("the layer died"), fault(why) {}
    understudy_fault fault;
};

// One at a time. Guest memory begins zero, with a page table at kRoot that maps nothing.
class HostLayer {
  public:
    static constexpr u64 kMemory = u64{4} << 20;
    static constexpr u64 kRoot = 0x1000;
    static constexpr u64 kFirstFree = 0x100000;  // tables made by map() lie below

    HostLayer();
    ~HostLayer();
    HostLayer(const HostLayer&) = delete;
    HostLayer& operator=(const HostLayer&) = delete;

    [[nodiscard]] long hypercall(u64 number, u64 first = 0, u64 second = 0, u64 third = 0);
    // The exits since the last call of this.
    [[nodiscard]] std::vector<PortExit> exits();
    // Maps the program's page at `address`: the host's memory there is the program's.
    void map(u64 address, u64 bits);
    // A place in guest memory where hypercalls find their arguments, and results.
    template <typename T>
    [[nodiscard]] T& argument(std::size_t slot = 0) {
        return *reinterpret_cast<T*>(physical(kFirstFree + slot * 256));
    }
    [[nodiscard]] u64& entry(u64 physical_address) { return *reinterpret_cast<u64*>(physical(physical_address)); }

  private:
    u64 next_table_ = kRoot + kPageBytes;
};

}  // namespace understudy::pv
