#include "tools/bench/postgres_store.hpp"

#include <algorithm>
#include <iterator>

#include "common/error.hpp"
#include "tools/bench/postgres_writes.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;

constexpr auto kLook = 20ms;
constexpr auto kPromotionTime = 60s;

}  // namespace

PostgresStore::PostgresStore(Stage& stage, std::size_t connections, std::chrono::milliseconds down_after)
    : stage_(stage),
      down_after_(down_after),
      servers_(stage, connections),
      pair_{servers_.add("postgres1", "10.79.0.41"), servers_.add("postgres2", "10.79.0.42")} {
    servers_.make_cluster(primary());
    servers_.start(primary());
    make_table_for_writes({.servers = {primary().address}});
    restart();
}

std::vector<Address> PostgresStore::addresses() const {
    std::vector<Address> addresses;
    std::ranges::transform(pair_, std::back_inserter(addresses), &PostgresServer::address);
    return addresses;
}

void PostgresStore::await_takeover() {
    await_silence();
    if (PostgresServers::ask(standby(), "select pg_promote()", kPromotionTime) != "t") {
        throw Error::format("{} was not promoted", standby().name);
    }
    primary_ = 1 - primary_;
}

void PostgresStore::await_silence() {
    auto heard = Stage::Clock::now();
    while (Stage::Clock::now() - heard < down_after_) {
        if (PostgresServers::answers(primary(), "select 1", "1", down_after_)) {
            heard = Stage::Clock::now();
        }
        stage_.pause(kLook);
    }
}

// Commits wait for a standby only where one is: a copy is made of a primary that waits for none, so that it serves as
// soon as it is promoted, as managers have it, and waits again when its own standby has come. Between the two it is as
// an asynchronous one; none is killed then.
void PostgresStore::restart() {
    servers_.copy(primary(), standby(), PostgresServers::Copy::standby);
    servers_.start(standby());
    servers_.make_synchronous(primary());
}

}  // namespace understudy::tools
