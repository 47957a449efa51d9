// Debian's redis-server with one replica and three Sentinels, each a station of the LAN.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "common/address.hpp"
#include "tools/bench/store.hpp"
#include "tools/demo/lan.hpp"
#include "tools/demo/stage.hpp"

namespace understudy::tools {

class SentinelStore : public Store {
  public:
    // `down_after`: of silence, after which a Sentinel takes the master for gone. There is a Lan. Returns when the
    // replica has all and every Sentinel knows it and the others. Throws understudy::Error.
    SentinelStore(Stage& stage, std::chrono::milliseconds down_after);

    [[nodiscard]] std::vector<Address> sentinels() const;

    void kill() override;
    void await_takeover() override;
    void restart() override;
    void await_redundancy() override;

  private:
    struct Server {
        Lan::Station station{};
        Address address{};
        std::shared_ptr<Child> process{};  // none: it is not started yet, or killed
    };

    [[nodiscard]] Server add(const std::string& name, const std::string& host, std::uint16_t port);
    void start(const std::string& name, Server& server, std::vector<std::string> command);
    void start_redis(std::size_t index, bool is_replica);
    void start_sentinel(std::size_t index, std::chrono::milliseconds down_after);
    [[nodiscard]] Server& master() { return servers_.at(master_); }
    [[nodiscard]] Server& other() { return servers_.at(1 - master_); }
    void expect_running() const;
    [[nodiscard]] bool all_say(const Server& server) const;  // that it is the master
    [[nodiscard]] static bool serves_as_master(const Server& server);
    void follow_sentinels();
    // What of it, in words; empty: nothing.
    [[nodiscard]] std::string missing_for_redundancy();

    Stage& stage_;
    std::chrono::milliseconds takeover_time_;
    std::array<Server, 2> servers_;
    std::array<Server, 3> sentinels_;
    std::size_t master_ = 0;
};

}  // namespace understudy::tools
