// What the benchmarks of protected guests stand on: arbiters, a gateway, and guests alone, protected or not at all, as
// processes of this machine.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tools/demo/stage.hpp"

namespace understudy::tools {

// Lines of a process, as they come, and the moment it is done.
struct Output {
    std::vector<std::string> lines;
    int exit_status = 0;
};

class Site {
  public:
    // `executable`: of `understudy`; the programs stand in programs/ beside it. Starts the arbiters and one gateway
    // that serves whatever guest speaks.
    explicit Site(std::filesystem::path executable);
    ~Site();
    Site(const Site&) = delete;
    Site& operator=(const Site&) = delete;

    // Runs a command to its end. Throws understudy::Error when that takes longer than `timeout`.
    [[nodiscard]] Output run(const std::vector<std::string>& command, std::chrono::milliseconds timeout);

    // A guest that runs until the object goes: alone, or a protected pair. It is there when its constructor returns.
    class Guest {
      public:
        [[nodiscard]] const std::vector<std::string>& console() const { return console_; }
        // How many console lines had come a second after the pair was formed: until then the guest gives way to a
        // backup that makes up for the transfer.
        [[nodiscard]] std::size_t console_lines_unsettled() const { return unsettled_lines_; }
        [[nodiscard]] bool ended() const { return !processes_.front()->running(); }
        ~Guest();

      private:
        friend class Site;
        explicit Guest(Stage& stage) : stage_(stage) {}
        Stage& stage_;
        std::string role_;
        std::string backup_role_;
        std::string address_;
        std::vector<std::string> console_;
        std::string partial_line_;
        std::size_t unsettled_lines_ = 0;
        Stage::Clock::time_point settled_at_ = Stage::Clock::time_point::max();
        std::vector<std::shared_ptr<Child>> processes_;
    };
    [[nodiscard]] std::unique_ptr<Guest> start_alone(const std::string& program, std::vector<std::string> arguments,
                                                     const std::vector<std::string>& options = {});
    [[nodiscard]] std::unique_ptr<Guest> start_protected(const std::string& program,
                                                         std::vector<std::string> arguments);

    // Waits until the guest's program has ended.
    void await_end(Guest& guest, std::chrono::milliseconds timeout);

    // Where the guest's port 6379 is on this host.
    [[nodiscard]] std::uint16_t guest_port() const { return guest_port_; }
    [[nodiscard]] std::filesystem::path program(const std::string& name) const;
    [[nodiscard]] const std::filesystem::path& executable() const { return executable_; }
    [[nodiscard]] Stage& stage() { return stage_; }

  private:
    std::shared_ptr<Child> start_server(const std::string& name, std::vector<std::string> arguments);
    void await_service(const Guest& guest);

    Stage stage_;
    std::filesystem::path executable_;
    std::string arbiter_url_;
    std::string gateway_;
    std::uint16_t guest_port_ = 0;
    unsigned guests_ = 0;
    std::vector<std::shared_ptr<Child>> servers_;
};

}  // namespace understudy::tools
