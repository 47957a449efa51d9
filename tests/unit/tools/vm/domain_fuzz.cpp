// Any text as a domain: what reads it says what is wrong, or describes a VM. libvirt's schema would refuse nearly all
// of it before our reader sees it, so here libvirt lets everything pass.
#include <libvirt/libvirt.h>

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "common/error.hpp"
#include "tools/vm/domain_xml.hpp"

// Found before libvirt's own.
extern "C" {
virConnectPtr virConnectOpen(const char* /*name*/) {
    static int connection;
    return reinterpret_cast<virConnectPtr>(&connection);
}
int virConnectClose(virConnectPtr /*connection*/) {
    return 0;
}
virDomainPtr virDomainDefineXMLFlags(virConnectPtr /*connection*/, const char* /*xml*/, unsigned /*flags*/) {
    static int domain;
    return reinterpret_cast<virDomainPtr>(&domain);
}
virDomainPtr virDomainLookupByName(virConnectPtr /*connection*/, const char* /*name*/) {
    return nullptr;
}
int virDomainFree(virDomainPtr /*domain*/) {
    return 0;
}
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace understudy;
    for (const std::string_view network : {"", "none"}) {
        try {
            tools::VmDescription vm =
                tools::read_domain({reinterpret_cast<const char*>(data), size}, "domain", network);
            if (vm.image.empty() && vm.initrd.empty()) {
                std::abort();
            }
            tools::complete(vm);
        } catch (const Error& error) {
            if (std::string_view(error.what()).empty()) {
                std::abort();
            }
        }
    }
    return 0;
}
