// What the monitor tells init: a file in the initial ramdisk, strings "name=value" that each end in a NUL.
//
//   hostname=NAME          address=IP/BITS (any number, IPv4 or IPv6)      gateway=IP (one a family)
//   nameserver=IP          image=/dev/vda                                  upper=PERCENT of memory for what is written
//   argument=TEXT          (the command, in order)                         environment=NAME=VALUE
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace understudy::init {

constexpr const char* kSettingsPath = "/understudy/settings";

struct Settings {
    std::string hostname = "guest";
    std::string image;  // empty: the initial ramdisk is the root
    std::string upper_percent = "80";
    std::vector<std::string> addresses;
    std::vector<std::string> gateways;
    std::vector<std::string> nameservers;
    std::vector<std::string> arguments;  // empty: what the kernel's command line says, or the image's own init
    std::vector<std::string> environment;
};

// Unknown names are ignored: an init may be older than its monitor.
[[nodiscard]] Settings parse_settings(std::string_view text);

}  // namespace understudy::init
