/** Replace this with your mail service. */
export function sendMail(to: string, text: string): void {
  console.log(`mail to ${to}: ${text}`);
}
