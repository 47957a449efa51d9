// The kernel's start.
#include "guest/kernel/address_space.hpp"
#include "guest/kernel/control.hpp"
#include "guest/kernel/filesystem.hpp"
#include "guest/kernel/frame.hpp"
#include "guest/kernel/heap.hpp"
#include "guest/kernel/net/interface.hpp"
#include "guest/kernel/panic.hpp"
#include "guest/kernel/program.hpp"
#include "guest/kernel/timers.hpp"

void understudy_main() {
    using namespace understudy;
    using namespace understudy::kernel;
    if (boot().version != abi::kVersion) {
        panic("the monitor speaks another version of the guest ABI");
    }
    static constinit Timer* timer_slots[1024] = {};
    heap().initialize(boot().kernel_heap);
    address_space().initialize(boot());
    timers().initialize(timer_slots);
    initialize_filesystem();
    net::initialize();
    start_program();
}
