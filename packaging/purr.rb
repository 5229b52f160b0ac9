class Purr < Formula
  desc "Netcat that loses no byte silently"
  homepage "@HOME@"
  version "@VERSION@"
  license "MIT"

  on_macos do
    on_intel do
      url "@HOME@/releases/download/v@VERSION@/purr-@VERSION@-darwin-amd64.tar.gz"
      sha256 "@SHA256 darwin-amd64.tar.gz@"
    end
    on_arm do
      url "@HOME@/releases/download/v@VERSION@/purr-@VERSION@-darwin-arm64.tar.gz"
      sha256 "@SHA256 darwin-arm64.tar.gz@"
    end
  end
  on_linux do
    on_intel do
      url "@HOME@/releases/download/v@VERSION@/purr-@VERSION@-linux-amd64.tar.gz"
      sha256 "@SHA256 linux-amd64.tar.gz@"
    end
    on_arm do
      url "@HOME@/releases/download/v@VERSION@/purr-@VERSION@-linux-arm64.tar.gz"
      sha256 "@SHA256 linux-arm64.tar.gz@"
    end
  end

  def install
    bin.install "purr"
    man1.install "purr.1"
    bash_completion.install "completions/purr.bash" => "purr"
    zsh_completion.install "completions/_purr"
    fish_completion.install "completions/purr.fish"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/purr --version")
  end
end
