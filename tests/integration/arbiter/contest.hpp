// A load that notices every wrong answer: of each VM two replicas, each with a client of its own, contend for one
// generation after the other; the winner forms the next. Never may both win, and what was acknowledged must stand.
#pragma once

#include <array>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "arbiter/client/client.hpp"

namespace understudy::arbiter::testing {

class Contest {
  public:
    Contest(boost::asio::io_context& io, const std::string& url, VmId vm, std::chrono::milliseconds patience);

    void start();
    void stop() { stopping_ = true; }  // after the round under way
    [[nodiscard]] bool stopped() const { return stopped_; }

    [[nodiscard]] std::uint64_t rounds() const { return rounds_; }
    [[nodiscard]] std::uint64_t unknowns() const { return unknowns_; }
    [[nodiscard]] const std::vector<std::string>& violations() const { return violations_; }
    // Does what the cluster says now contradict an acknowledged decision?
    void check(const Outcome& now);
    [[nodiscard]] const VmId& vm() const { return vm_; }

  private:
    void form();
    void ask();
    void answered(std::size_t who, const Outcome& outcome);
    void recover();

    VmId vm_;
    std::chrono::milliseconds patience_;
    std::array<std::unique_ptr<Client>, 2> clients_;
    const std::array<ReplicaId, 2> names_{"left", "right"};
    std::size_t owner_ = 0;
    std::uint64_t generation_ = 0;
    std::map<std::uint64_t, std::size_t> winners_;  // acknowledged
    std::size_t answers_ = 0;
    bool somebody_won_ = false;
    std::uint64_t rounds_ = 0;
    std::uint64_t unknowns_ = 0;
    bool stopping_ = false;
    bool stopped_ = false;
    std::vector<std::string> violations_;
};

// Several contests on one io_context.
class Contests {
  public:
    Contests(const std::string& url, std::size_t count,
             std::chrono::milliseconds patience = std::chrono::milliseconds(15'000));
    void run_for(std::chrono::milliseconds time) { io_.run_for(time); }
    // Until every contest has made `rounds` more rounds; false after a minute.
    [[nodiscard]] bool advance(std::uint64_t rounds);
    // Ends the load, reads everything back. Empty: nothing was wrong.
    [[nodiscard]] std::string verdict();
    [[nodiscard]] std::uint64_t unknowns() const;

  private:
    boost::asio::io_context io_;
    std::unique_ptr<Client> reader_;
    std::vector<std::unique_ptr<Contest>> contests_;
};

}  // namespace understudy::arbiter::testing
