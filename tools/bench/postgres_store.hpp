// PostgreSQL with a synchronous standby, and who promotes it. PostgreSQL brings no manager of its own; this one is as
// generous as one can be: it looks at the primary every moment, promotes the standby once that was silent, or refused
// to serve, for as long as is taken for death, asks nobody else, and fences nothing.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <vector>

#include "common/address.hpp"
#include "tools/bench/postgres_servers.hpp"
#include "tools/bench/store.hpp"

namespace understudy::tools {

class PostgresStore final : public Store {
  public:
    // `down_after`: of silence, after which the primary is taken for gone. There is a Lan. Returns when the standby is
    // synchronous and there is a table for the clients (postgres_writes.hpp). Throws understudy::Error.
    PostgresStore(Stage& stage, std::size_t connections, std::chrono::milliseconds down_after);

    // Of which one is the primary.
    [[nodiscard]] std::vector<Address> addresses() const;

    void kill() override { servers_.kill(primary()); }
    void await_takeover() override;
    void restart() override;
    void await_redundancy() override { servers_.await_synchronous(primary()); }

  private:
    [[nodiscard]] PostgresServer& primary() { return pair_.at(primary_); }
    [[nodiscard]] PostgresServer& standby() { return pair_.at(1 - primary_); }
    void await_silence();

    Stage& stage_;
    std::chrono::milliseconds down_after_;
    PostgresServers servers_;
    std::array<PostgresServer, 2> pair_;
    std::size_t primary_ = 0;
};

}  // namespace understudy::tools
