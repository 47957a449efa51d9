// Debian's redis-server in a protected guest on the LAN: one address, whichever of the two runs it.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "common/address.hpp"
#include "tools/bench/store.hpp"
#include "tools/demo/replica.hpp"
#include "tools/demo/services.hpp"
#include "tools/demo/stage.hpp"

namespace understudy::tools {

class ProtectedStore : public Store {
  public:
    // There is a Lan. Returns when the guest serves and is protected. Throws understudy::Error.
    ProtectedStore(Stage& stage, std::filesystem::path image, std::chrono::milliseconds suspicion);

    [[nodiscard]] static Address server();

    void kill() override;
    void await_takeover() override;
    void restart() override;
    void await_redundancy() override;

  private:
    [[nodiscard]] std::vector<std::string> replica_words(const std::string& role);
    void start_primary();
    void await_pair_or_end();
    void recover();

    Stage& stage_;
    std::filesystem::path executable_;
    std::filesystem::path image_;
    std::chrono::milliseconds suspicion_;
    Arbiters arbiters_;
    unsigned replicas_ = 0;
    std::unique_ptr<Replica> primary_;
    std::unique_ptr<Replica> backup_;
};

}  // namespace understudy::tools
