// The demonstration's script: an image, three arbiters, a gateway, a protected guest, clients; then round after round a
// fault, the takeover, and a new backup.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "tools/demo/guest.hpp"
#include "tools/demo/lan.hpp"
#include "tools/demo/load.hpp"
#include "tools/demo/relay.hpp"
#include "tools/demo/replica.hpp"
#include "tools/demo/report.hpp"
#include "tools/demo/services.hpp"
#include "tools/demo/stage.hpp"

namespace understudy::tools {

struct ScenarioOptions {
    unsigned rounds = 2;
    Fault fault = Fault::kill;
    std::uint64_t seed = 0;
    GuestDescription guest;
    unsigned suspicion_ms = 100;       // silence after which a replica takes its peer for lost
    std::filesystem::path executable;  // of `understudy`: every process is this one
    std::filesystem::path image;       // of a Linux guest; empty: one is made of its packages
};

class Scenario {
  public:
    // Throws understudy::Error where this host cannot play it: ask before anything is built or started.
    static void require_host(const ScenarioOptions& options);

    Scenario(Stage& stage, ScenarioOptions options);

    // Plays all rounds; `report` holds what was found so far even when it throws understudy::Error.
    void run(Report& report);

  private:
    void prepare_image();
    void start_servers();
    void start_primary();
    void await_service();
    void start_backup();
    void start_clients();
    void await_protection();
    void recover();
    [[nodiscard]] bool protected_now() const;
    void await_takeover(Round& round);
    void await_deposed_primary();
    void await_winner(Round& round);
    [[nodiscard]] Phases await_phases();
    void show_phases(const Phases& phases, double gap_ms);

    void play_round(Report& report);
    // Each brings the fault about and returns when one replica goes on and the other is gone.
    void play_kill(Round& round);
    void play_stop(Round& round);
    void play_partition(Round& round);
    void play_cut(Round& round);
    void play_host(Round& round);
    void play_arbiter(Round& round);
    void play_gateway(Round& round);
    void kill_primary();
    // The same two replicas go on.
    void play_flip(Report& report);

    void survivor_is(std::unique_ptr<Replica>& survivor);
    void retire(std::unique_ptr<Replica> replica);
    void conclude(Report& report) const;
    [[nodiscard]] std::uint64_t sum_of_replicas(std::uint64_t (Replica::*value)() const) const;
    [[nodiscard]] std::uint64_t divergences() const { return sum_of_replicas(&Replica::divergences); }
    void show_console() const;
    struct Host {
        std::string name;
        std::string address;               // where a replica listens
        std::string gateway;               // for --network
        std::vector<std::string> command;  // before a command that runs there
    };
    Host add_host();
    [[nodiscard]] std::vector<std::string> replica_words(const std::string& role, const Host& host) const;

    Stage& stage_;
    ScenarioOptions options_;
    std::mt19937_64 random_;
    std::optional<Lan> lan_;                        // where hosts have links of their own
    std::map<std::string, Lan::Station> stations_;  // by host
    Arbiters arbiters_;
    GatewayService gateway_;
    std::map<std::string, std::unique_ptr<Relay>> gateway_links_;  // by host, where they are to go silent
    std::unique_ptr<Relay> channel_;    // between the present pair, where it is to be partitioned or cut
    std::unique_ptr<Replica> primary_;  // speaks for the guest
    std::unique_ptr<Replica> backup_;
    std::vector<std::unique_ptr<Replica>> retired_;
    std::unique_ptr<Load> load_;
    unsigned hosts_ = 0;
    std::optional<Event::Time> fault_at_;  // of this round, once it is brought about
    std::uint64_t unplanned_failovers_ = 0;
};

}  // namespace understudy::tools
