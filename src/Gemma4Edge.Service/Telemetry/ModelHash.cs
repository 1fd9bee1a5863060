using System.Security.Cryptography;
using Gemma4Edge.Service.Mqtt;
using Microsoft.Extensions.Hosting;

namespace Gemma4Edge.Service.Telemetry;

/// <summary>Computes the SHA-256 of the model's file while nobody asks for anything, and announces it. Without OpenSSL (static builds) there is none.</summary>
/// <param name="path">The model: a file, or a folder with one file of weights. Of several files no hash is told.</param>
/// <param name="served">The line: while a request runs or waits, nothing is read.</param>
/// <param name="bridge">Announces it.</param>
internal sealed class ModelHash(string path, ServedModel served, MqttBridge bridge) : BackgroundService
{
    private const int PieceBytes = 1 << 20;
    private static readonly TimeSpan s_busy = TimeSpan.FromMilliseconds(500);

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (WeightsFile(path) is not { } file || !Tls.IsAvailable)
        {
            return;
        }

        try
        {
            FileStream stream = new(file, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0, FileOptions.Asynchronous | FileOptions.SequentialScan);
            await using (stream.ConfigureAwait(false))
            {
                using var sha256 = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
                byte[] piece = new byte[PieceBytes];
                for (int read = -1; read != 0; sha256.AppendData(piece, 0, read))
                {
                    while (served.Queue.Busy)
                    {
                        await Task.Delay(s_busy, stoppingToken).ConfigureAwait(false);
                    }

                    read = await stream.ReadAsync(piece, stoppingToken).ConfigureAwait(false);
                }

                bridge.Announce(served.Info with { ModelSha256 = Convert.ToHexStringLower(sha256.GetHashAndReset()) });
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // the model is mapped and works: its hash is only an addition
        }
    }

    private static string? WeightsFile(string model) =>
        File.Exists(model) ? model
        : Directory.Exists(model) && Directory.GetFiles(model, "*.safetensors") is [string only] ? only
        : null;
}
