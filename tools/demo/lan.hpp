// A LAN of this machine, for faults and measurements: a bridge in a network namespace of this process's own, with
// stations in namespaces of theirs behind it. Nothing of the host's network is touched, and all of it ends with the
// process.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tools/demo/stage.hpp"

namespace understudy::tools {

class Lan {
  public:
    static constexpr std::string_view kBridge = "lan";
    // This process's own address on it.
    static constexpr std::string_view kAddress = "10.79.0.1";

    // Why there can be none: no root, no `ip`. Empty: there can.
    [[nodiscard]] static std::string missing();

    // Moves the calling thread, and what it starts from now on, into a new network namespace with the bridge and a
    // loopback. Throws understudy::Error.
    Lan();

    // A namespace with an address on the LAN.
    struct Station {
        std::string name{};
        std::shared_ptr<Child> holder;     // the namespace lives as long
        std::vector<std::string> command;  // before a command that runs there
    };
    // Takes the cable out of a station, or puts it back.
    static void set_link(const std::string& name, bool up);
    [[nodiscard]] static Station add_station(Stage& stage, const std::string& name, const std::string& address);
};

}  // namespace understudy::tools
